import { Octokit } from "octokit";

export default defineComponent({
  name: "issue",
  props: { github: { type: "app", app: "github" }, title: { type: "string" } },
  async run() {
    const octokit = new Octokit({ auth: this.github.$auth.oauth_access_token });
    const made = await octokit.rest.issues.create({ owner: "ada", repo: "engine", title: this.title });
    const all = await octokit.paginate(octokit.rest.issues.listForRepo, { owner: "ada", repo: "engine", per_page: 2 });
    return { number: made.data.number, all: all.map((issue) => issue.number) };
  },
});

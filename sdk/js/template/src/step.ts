import { defineComponent } from "@deputy/step";

// What this step needs. The account is bound when the step runs; the step itself never sees a key: `$auth` holds a
// stand-in that works in this run, through this account, and nowhere else.
export default defineComponent({
  name: "{name}",
  props: {
    github: {
      type: "app",
      app: "github",
      description: "Whose repositories to list",
      methods: ["GET"],
      paths: ["/user"],
    },
    limit: { type: "integer", default: 10, description: "How many of them" },
  },
  async run({ $ }) {
    const answer = await this.github.fetch(`/user/repos?sort=updated&per_page=${this.limit}`);
    if (!answer.ok) {
      throw new Error(`GitHub answered ${answer.status}: ${await answer.text()}`);
    }
    const repositories = (await answer.json()) as { full_name: string }[];
    console.log(`${repositories.length} repositories of ${this.github.$name}`);
    $.export("count", repositories.length);
    return repositories.map((repository) => repository.full_name);
  },
});

import { Client } from "@notionhq/client";

export default defineComponent({
  name: "page",
  props: { notion: { type: "app", app: "notion" }, parent: { type: "string" } },
  async run() {
    const notion = new Client({ auth: this.notion.$auth.oauth_access_token });
    const page = await notion.pages.create({
      parent: { page_id: this.parent },
      properties: { title: { title: [{ text: { content: "From a step" } }] } },
    });
    return { id: page.id };
  },
});

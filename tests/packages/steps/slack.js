// The classic example: an app prop, an unmodified client, a token that is none.
import { WebClient } from "@slack/web-api";

export default defineComponent({
  name: "post",
  props: {
    slack: { type: "app", app: "slack" },
    channel: { type: "string" },
    text: { type: "string" },
  },
  async run() {
    const web = new WebClient(this.slack.$auth.oauth_access_token);
    const posted = await web.chat.postMessage({ channel: this.channel, text: this.text });
    return { ts: posted.ts, token: this.slack.$auth.oauth_access_token.slice(0, 5) };
  },
});

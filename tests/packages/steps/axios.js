import axios from "axios";

export default defineComponent({
  name: "mail",
  props: { sendgrid: { type: "app", app: "sendgrid" }, to: { type: "string" } },
  async run() {
    const answer = await axios.post(
      "https://api.sendgrid.com/v3/mail/send",
      { personalizations: [{ to: [{ email: this.to }] }] },
      { headers: { Authorization: `Bearer ${this.sendgrid.$auth.api_key}` } },
    );
    const missing = await axios
      .get("https://api.sendgrid.com/v3/missing", { headers: { Authorization: `Bearer ${this.sendgrid.$auth.api_key}` } })
      .catch((error) => error.response.status);
    return { status: answer.status, missing };
  },
});

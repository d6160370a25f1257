import Stripe from "stripe";

export default defineComponent({
  name: "customer",
  props: { stripe: { type: "app", app: "stripe" }, email: { type: "string" } },
  async run() {
    const stripe = new Stripe(this.stripe.$auth.api_key, { maxNetworkRetries: 0 });
    const customer = await stripe.customers.create({ email: this.email, metadata: { from: "a step" } });
    return { id: customer.id };
  },
});

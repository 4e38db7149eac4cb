// Refusals as the official client sees them. Prints {"unknown_model","bad_key","negative_max_tokens","no_messages"} and,
// where POOR_API_KEY names a key of a tenant without money, {"no_money"}; each as refusal() in client.mjs describes it.

import { ask, client, flow, model, refusal } from "./client.mjs";

const create = (openai, body) => () =>
  openai.chat.completions.create({ model: model(), messages: ask("What is 12 + 30?"), ...body });

await flow(async () => {
  const rich = client();
  const found = {
    unknown_model: await refusal(create(rich, { model: "no-such-model" })),
    bad_key: await refusal(create(client({ apiKey: "tg_no_such_key" }))),
    negative_max_tokens: await refusal(create(rich, { max_tokens: -1 })),
    no_messages: await refusal(create(rich, { messages: [] })),
  };
  if (process.env.POOR_API_KEY) {
    found.no_money = await refusal(create(client({ apiKey: process.env.POOR_API_KEY })));
  }
  return found;
});

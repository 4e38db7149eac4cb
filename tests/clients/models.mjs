// The list of models and one of them. Prints {"ids","model","unknown"}.

import { client, flow, model, refusal } from "./client.mjs";

await flow(async () => {
  const openai = client();
  const ids = [];
  for await (const entry of openai.models.list()) ids.push(entry.id);
  return {
    ids,
    model: await openai.models.retrieve(model()),
    unknown: await refusal(() => openai.models.retrieve("no-such-model")),
  };
});

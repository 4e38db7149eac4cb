// A stream that its reader leaves after STOP_AFTER pieces (default 2). Prints {"request_id","pieces","text"}; whether the
// job ended and what it cost is for the caller to ask.

import { ask, client, flow, model } from "./client.mjs";

await flow(async () => {
  const stopAfter = Number(process.env.STOP_AFTER ?? 2);
  const { data: stream, request_id } = await client()
    .chat.completions.create({
      model: model(),
      messages: ask(process.env.QUESTION ?? "What is Tokengrid?"),
      max_tokens: 512,
      stream: true,
    })
    .withResponse();
  const found = { request_id, pieces: 0, text: "" };
  for await (const chunk of stream) {
    const piece = chunk.choices[0]?.delta?.content;
    if (!piece) continue;
    found.text += piece;
    found.pieces += 1;
    if (found.pieces >= stopAfter) break; // Leaving the loop aborts the request.
  }
  return { ...found, aborted: stream.controller.signal.aborted };
});

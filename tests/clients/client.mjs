// What every flow shares: the official client, pointed at BASE_URL (such as http://127.0.0.1:8080/v1) with API_KEY and MODEL
// from the environment, and one JSON line on stdout at the end. A flow that fails prints its error and exits 1.

import OpenAI from "openai";

/** The environment variable `name`, or the end of the flow. */
export function setting(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(1);
  }
  return value;
}

/** A client without retries: a test wants to see the first answer. */
export function client(options = {}) {
  return new OpenAI({ baseURL: setting("BASE_URL"), apiKey: setting("API_KEY"), maxRetries: 0, timeout: 60_000, ...options });
}

export const model = () => setting("MODEL");

export const ask = (content) => [{ role: "user", content }];

/** Runs a flow and prints what it found as one JSON line. */
export async function flow(run) {
  try {
    console.log(JSON.stringify(await run()));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

/** What the client made of a refusal: its class, status and the error's own fields. */
export async function refusal(request) {
  try {
    await request();
    return { refused: false };
  } catch (error) {
    const { status, code, type, param, message } = error;
    return { refused: true, class: error.constructor.name, status, code, type, param, message };
  }
}

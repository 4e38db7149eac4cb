// What a screen shows when there is nothing yet, while it waits, and when it gets nothing: the control plane's answers, changed
// on their way to the page.

/** The states of a screen that reads something, besides the usual one. */
export const states = ["empty", "loading", "error", "forbidden"];

const refusals = {
  error: { message: "Something went wrong on our side. Try again; nothing was charged.", extensions: { code: "internal" } },
  forbidden: { message: "Not allowed: you belong to no tenant; ask an owner to add you.", extensions: { code: "forbidden" } },
};

/** From now on the page meets this state, whichever screen it opens. Who is asking stays known. */
export async function inState(page, state) {
  await page.route("**/graphql", async (route) => {
    const { operationName } = route.request().postDataJSON();
    if (operationName === "Frame") return route.continue();
    // Nobody ever answers.
    if (state === "loading") return undefined;
    if (state !== "empty") return route.fulfill({ json: { data: null, errors: [refusals[state]] } });
    const response = await route.fetch();
    return route.fulfill({ response, json: emptied(await response.json()) });
  });
}

/** The same answer with nothing in any list. */
function emptied(value) {
  if (Array.isArray(value)) return value.map(emptied);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).map(([name, field]) => [name, name === "nodes" && Array.isArray(field) ? [] : emptied(field)]);
  return Object.fromEntries(fields);
}

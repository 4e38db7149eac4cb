// A person's way through the console: from sign-up to an answer, its receipt, their own code, and a forgotten password.
// CONSOLE_URL, OUTBOX_URL and EMAIL (nobody's yet) come from the environment; CLIENTS is a folder with the official client.
import assert from "node:assert/strict";
import { newContext, setting, signIn, withBrowser } from "./browser.mjs";
import { codeFor } from "./outbox.mjs";
import { printedBy } from "./snippets.mjs";

const consoleUrl = setting("CONSOLE_URL");
const email = setting("EMAIL");
const [firstPassword, secondPassword] = ["correct horse battery", "staple battery horse"];
const QUESTION = "What is 12 + 30?";

/** What each dialect's code prints when it works. */
const printed = {
  curl: /"delta".*\[DONE\]/s,
  Python: /\S/,
  JavaScript: /\S/,
  GraphQL: /"jobSubmit":\{"job":\{"id":"job_/,
};

await withBrowser(async (browser, faults) => {
  const context = await newContext(browser, faults, { viewport: { width: 1280, height: 800 }, locale: "en-US" });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: consoleUrl });
  const page = await context.newPage();
  const outbox = await context.newPage();
  await outbox.goto(setting("OUTBOX_URL"));

  const startedAt = performance.now();
  const since = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  await page.goto(consoleUrl);
  await signUp(page, outbox);
  const key = await makeKey(page);
  await askInThePlayground(page);
  process.stdout.write(`journey: the first answer after ${since()}\n`);
  await readTheReceipt(page);
  await runTheSnippets(page, key);
  await runTheSnippetsWithAKeyFilledIn(page);
  process.stdout.write(`journey: the last call from copied code after ${since()}\n`);
  await seeHomeUsageAndNodes(page);
  await replaceForgottenPassword(page, outbox);
  process.stdout.write(`journey: all of it in ${since()}\n`);
});

/** The heading of the screen that is there now. */
async function at(page, title) {
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
}

/** What the copy button of this name puts on the clipboard. */
async function copied(page, place, name) {
  await place.getByRole("button", { name }).click();
  await place.getByRole("button", { name: "Copied" }).waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
}

async function signUp(page, outbox) {
  await at(page, "Sign in");
  await page.getByRole("link", { name: "Make an account" }).click();
  await at(page, "Make an account");
  await page.getByLabel("Organisation").fill("Ada");
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("New password").fill(firstPassword);
  await page.getByRole("button", { name: "Make account" }).click();
  await at(page, "Type the code from your mail");
  // Whoever reads their mail in the same tab comes back to the same step.
  await page.goto(setting("OUTBOX_URL"));
  await page.goBack();
  await page.reload();
  await at(page, "Type the code from your mail");
  await page.getByLabel("Code").fill(await codeFor(outbox, email, 1));
  await page.getByRole("button", { name: "Confirm and sign in" }).click();
  await at(page, "Home");
  await page.getByRole("heading", { name: "Three steps to an answer in your own code" }).waitFor();
}

/** By way of the checklist; the secret is copied, and gone from the screens afterwards. */
async function makeKey(page) {
  await page.getByRole("link", { name: "Make a key" }).click();
  await at(page, "Keys");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("laptop");
  await dialog.getByRole("button", { name: "Make a key" }).click();
  await dialog.getByText("Store this key now").waitFor();
  const secret = await copied(page, dialog, "Copy");
  assert.match(secret, /^tgk_/);
  await dialog.getByRole("button", { name: "I have stored it" }).click();
  await page.getByRole("cell", { name: "laptop", exact: true }).waitFor();
  await page.reload();
  await page.getByRole("cell", { name: "laptop", exact: true }).waitFor();
  assert.ok(!(await page.content()).includes(secret), "a secret is shown once");
  return secret;
}

async function askInThePlayground(page) {
  await page.getByRole("link", { name: "Playground", exact: true }).click();
  await at(page, "Playground");
  await page.getByLabel("Message").fill(QUESTION);
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("link", { name: "Receipt" }).waitFor();
  for (const name of ["Tokens in", "Tokens out"]) {
    assert.match(await figure(page, name), /[1-9]/, name);
  }
  assert.match(await figure(page, "Cost"), /^USD\s0\.0*[1-9]/);
  assert.ok((await page.getByRole("log").innerText()).includes(QUESTION));
}

/** The text of a figure, less its name. */
async function figure(page, name) {
  const text = await page.getByRole("region", { name, exact: true }).innerText();
  return text.replace(name, "").trim();
}

async function readTheReceipt(page) {
  await page.getByRole("link", { name: "Receipt" }).click();
  await at(page, "Receipt");
  const transfers = page.getByRole("table", { name: "Transfers in the ledger" });
  for (const kind of ["Hold", "Capture", "Posted"]) {
    await transfers.getByRole("cell", { name: kind, exact: true }).first().waitFor();
  }
  const hash = await copied(page, page, /^Copy [0-9a-f]{9}…[0-9a-f]{6}$/);
  assert.match(hash, /^[0-9a-f]{64}$/);
}

/** As they are copied by somebody whose key is in the environment. */
async function runTheSnippets(page, key) {
  await page.getByRole("link", { name: "Playground", exact: true }).click();
  const section = page.getByRole("region", { name: "The same request in code" });
  await page.getByLabel("Message").fill(QUESTION);
  for (const [dialect, expected] of Object.entries(printed)) {
    const snippet = await snippetIn(page, section, dialect);
    assert.ok(snippet.includes("TOKENGRID_KEY") && !snippet.includes(key), snippet);
    assert.match(await printedBy(dialect, snippet, setting("CLIENTS"), key), expected, dialect);
  }
}

/** As they are copied by somebody who makes the key there: nothing is left to fill in. */
async function runTheSnippetsWithAKeyFilledIn(page) {
  const section = page.getByRole("region", { name: "The same request in code" });
  await section.getByRole("button", { name: "Make a key and fill it in" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("snippets");
  await dialog.getByRole("button", { name: "Make a key" }).click();
  const secret = await copied(page, dialog, "Copy");
  await dialog.getByRole("button", { name: "I have stored it" }).click();
  for (const [dialect, expected] of Object.entries(printed)) {
    const snippet = await snippetIn(page, section, dialect);
    assert.ok(snippet.includes(secret) && !snippet.includes("TOKENGRID_KEY"), dialect);
    assert.match(await printedBy(dialect, snippet, setting("CLIENTS"), undefined), expected, dialect);
  }
}

async function snippetIn(page, section, dialect) {
  await section.getByText(dialect, { exact: true }).click();
  return copied(page, section, `Copy ${dialect}`);
}

async function seeHomeUsageAndNodes(page) {
  await page.getByRole("link", { name: "Home", exact: true }).click();
  await at(page, "Home");
  // Nothing is left to do: the checklist gave way to what today costs.
  assert.match(await figure(page, "Spent today"), /^USD\s0\.0*[1-9]/);
  await page.getByRole("link", { name: "Usage and balance" }).click();
  await at(page, "Usage and balance");
  // The playground's, and those of curl, JavaScript and GraphQL; the first row names the columns.
  await page.getByRole("table", { name: "Jobs" }).getByRole("row").nth(4).waitFor();
  assert.match(await figure(page, "Available"), /4\.9/);
  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await at(page, "Nodes");
  await page.getByRole("cell", { name: "spark-1" }).waitFor();
}

async function signOut(page) {
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await at(page, "Sign in");
}

/** Afterwards the new password opens the door, and the old one does not. */
async function replaceForgottenPassword(page, outbox) {
  await signOut(page);
  await page.getByRole("link", { name: "Forgot the password?" }).click();
  await at(page, "Forgot the password");
  await page.getByLabel("Email").fill(email);
  await page.getByRole("button", { name: "Send a code" }).click();
  await at(page, "Type the code from your mail");
  await page.getByLabel("Code").fill(await codeFor(outbox, email, 2));
  await page.getByLabel("New password").fill(secondPassword);
  await page.getByRole("button", { name: "Set password and sign in" }).click();
  await at(page, "Home");
  await signOut(page);
  await signIn(page, email, firstPassword);
  await page.getByRole("alert").waitFor();
  await page.reload();
  await signInByKeyboard(page, secondPassword);
}

/** No pointer: Tab finds each field, Enter sends, and the first Tab of a screen leads past the menu. */
async function signInByKeyboard(page, password) {
  for (const [label, text] of [["Email", email], ["Password", password]]) {
    const field = page.getByLabel(label, { exact: true });
    for (let stops = 0; stops < 8 && !(await isFocused(field)); stops++) await page.keyboard.press("Tab");
    assert.ok(await isFocused(field), `Tab does not lead to ${label}`);
    await page.keyboard.type(text);
  }
  await page.keyboard.press("Enter");
  await at(page, "Home");
  await page.reload();
  await page.getByRole("link", { name: "All jobs" }).waitFor();
  await page.keyboard.press("Tab");
  assert.ok(await isFocused(page.getByRole("link", { name: "Skip to content" })), "the first stop leads past the menu");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.ok(await isFocused(page.getByRole("main").locator(":focus")), "the next stop is in the content");
}

async function isFocused(locator) {
  return (await locator.count()) > 0 && locator.first().evaluate((element) => element === document.activeElement);
}

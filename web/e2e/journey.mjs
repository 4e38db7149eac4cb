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

await withBrowser(async (browser, faults) => {
  const context = await newContext(browser, faults, { viewport: { width: 1280, height: 800 }, locale: "en-US" });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: consoleUrl });
  const page = await context.newPage();
  const outbox = await context.newPage();
  await outbox.goto(setting("OUTBOX_URL"));

  await page.goto(consoleUrl);
  await signUp(page, outbox);
  const key = await makeKey(page);
  await askInThePlayground(page);
  await readTheReceipt(page);
  await runTheSnippets(page, key);
  await seeUsageAndNodes(page);
  await replaceForgottenPassword(page, outbox);
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

async function runTheSnippets(page, key) {
  await page.getByRole("link", { name: "Playground", exact: true }).click();
  const section = page.getByRole("region", { name: "The same request in code" });
  await page.getByLabel("Message").fill(QUESTION);
  for (const [dialect, expected] of [
    ["curl", /"delta".*\[DONE\]/s],
    ["Python", /\S/],
    ["JavaScript", /\S/],
    ["GraphQL", /"jobSubmit":\{"job":\{"id":"job_/],
  ]) {
    await section.getByText(dialect, { exact: true }).click();
    const snippet = await copied(page, section, `Copy ${dialect}`);
    assert.ok(snippet.includes("TOKENGRID_KEY") && !snippet.includes(key), snippet);
    assert.match(await printedBy(dialect, snippet, setting("CLIENTS"), key), expected, dialect);
  }
}

async function seeUsageAndNodes(page) {
  await page.getByRole("link", { name: "Home", exact: true }).click();
  await at(page, "Home");
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
  await signIn(page, email, secondPassword);
  await at(page, "Home");
}

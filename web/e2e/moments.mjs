// What opens on a screen when somebody does something: dialogs, menus, an answer. Found by their kind, not by their words, since
// they are met in every language.
import { settled } from "./picture.mjs";

const PASSWORD = "correct horse battery";
const QUESTION = "Count from 1 to 30";

/** Each moment: whether it takes a session, and how a page gets there. */
export const moments = {
  "sign-in-refused": {
    signedIn: false,
    open: async (page, { consoleUrl, name }) => {
      await page.goto(`${consoleUrl}/sign-in`);
      await fillIn(page, [`${name}@example.com`, "not the password"]);
      await page.getByRole("alert").waitFor();
    },
  },
  "sign-up-code": {
    signedIn: false,
    open: async (page, { consoleUrl, name }) => {
      await page.goto(`${consoleUrl}/sign-up`);
      await fillIn(page, ["Analytical Engines", `${name}@example.com`, PASSWORD]);
      await page.locator('input[autocomplete="one-time-code"]').waitFor();
    },
  },
  "forgot-password-code": {
    signedIn: false,
    open: async (page, { consoleUrl, name }) => {
      await page.goto(`${consoleUrl}/forgot-password`);
      await fillIn(page, [`${name}@example.com`]);
      await page.locator('input[autocomplete="one-time-code"]').waitFor();
    },
  },
  "key-create": { signedIn: true, open: openKeyCreate },
  "key-shown": {
    signedIn: true,
    open: async (page, there) => {
      await openKeyCreate(page, there);
      await page.getByRole("dialog").getByRole("textbox").first().fill("nightly report");
      await page.locator('[role="dialog"] button[type="submit"]').click();
      await page.getByRole("dialog").locator("pre").waitFor();
    },
  },
  "key-revoke": {
    signedIn: true,
    open: async (page, { consoleUrl }) => {
      await page.goto(`${consoleUrl}/keys`);
      await settled(page);
      await page.getByRole("row").nth(1).getByRole("button").last().click();
      await page.getByRole("dialog").getByRole("textbox").waitFor();
    },
  },
  palette: {
    signedIn: true,
    open: async (page, { consoleUrl }) => {
      await page.goto(consoleUrl);
      await settled(page);
      await page.keyboard.press("/");
      await page.getByRole("combobox").waitFor();
    },
  },
  hotkeys: {
    signedIn: true,
    open: async (page, { consoleUrl }) => {
      await page.goto(consoleUrl);
      await settled(page);
      await page.keyboard.press("?");
      await page.getByRole("dialog").getByRole("switch").waitFor();
    },
  },
  menu: {
    signedIn: true,
    open: async (page, { consoleUrl, size }) => {
      await page.goto(consoleUrl);
      await settled(page);
      const buttons = page.getByRole("banner").getByRole("button");
      // On a phone the places, elsewhere the account.
      await (size === "phone" ? buttons.first() : buttons.last()).click();
      const opened = size === "phone" ? page.getByRole("navigation").getByRole("link") : page.getByRole("menuitem");
      // It is there once it has stopped moving.
      await opened.first().click({ trial: true });
    },
  },
  "playground-answered": {
    signedIn: true,
    open: async (page, { consoleUrl }) => {
      await page.goto(`${consoleUrl}/playground`);
      await settled(page);
      await page.locator("textarea").first().fill(QUESTION);
      await page.locator('form button[type="submit"]').click();
      await page.locator('main a[href^="/jobs/"]').waitFor();
    },
  },
};

async function openKeyCreate(page, { consoleUrl }) {
  await page.goto(`${consoleUrl}/keys?make`);
  await settled(page);
  await page.getByRole("dialog").locator('button[type="submit"]').waitFor();
}

/** Fills the form's fields in their order and sends it. */
async function fillIn(page, texts) {
  const fields = page.locator("form input");
  for (const [place, text] of texts.entries()) await fields.nth(place).fill(text);
  await page.locator('form button[type="submit"]').click();
}

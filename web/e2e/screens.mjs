// Every screen of one size in every language and theme: a picture of it, and what axe finds wrong with it.
// CONSOLE_URL, SIZE, EMAIL and PASSWORD of somebody with a job, its JOB_ID, and SCREENSHOTS (a folder) come from the environment.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { newContext, setting, signIn, withBrowser } from "./browser.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const consoleUrl = setting("CONSOLE_URL");
const size = setting("SIZE");
const folder = setting("SCREENSHOTS");

const doors = { "sign-in": "/sign-in", "sign-up": "/sign-up", "forgot-password": "/forgot-password" };
const rooms = {
  home: "/",
  playground: "/playground",
  keys: "/keys",
  usage: "/usage",
  receipt: `/jobs/${setting("JOB_ID")}`,
  nodes: "/supply/nodes",
  "not-found": "/nowhere",
};
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const locales = { en: "en-US", zh: "zh-CN" };
const colorSchemes = ["light", "dark"];

mkdirSync(folder, { recursive: true });
await withBrowser(async (browser, faults) => {
  const storageState = await session(browser, faults);
  for (const [language, locale] of Object.entries(locales)) {
    for (const colorScheme of colorSchemes) {
      const look = { viewport: sizes[size], locale, colorScheme, reducedMotion: "reduce" };
      const name = (screen) => `${screen}-${size}-${language}-${colorScheme}`;
      await visit(await newContext(browser, faults, look), doors, name, faults);
      await visit(await newContext(browser, faults, { ...look, storageState }), rooms, name, faults);
    }
  }
});

/** The cookies of somebody who signed in. */
async function session(browser, faults) {
  const context = await newContext(browser, faults, { locale: "en-US" });
  const page = await context.newPage();
  await page.goto(`${consoleUrl}/sign-in`);
  await signIn(page, setting("EMAIL"), setting("PASSWORD"));
  await page.getByRole("heading", { level: 1, name: "Home" }).waitFor();
  const { cookies } = await context.storageState();
  await context.close();
  return { cookies, origins: [] };
}

async function visit(context, screens, name, faults) {
  const page = await context.newPage();
  for (const [screen, path] of Object.entries(screens)) {
    await page.goto(`${consoleUrl}${path}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.waitForFunction(() => document.querySelector('[role="status"][aria-label]') === null);
    await page.screenshot({ path: join(folder, `${name(screen)}.png`), fullPage: true });
    faults.push(...(await page.evaluate(faultsOfLayout)).map((fault) => `${name(screen)}: ${fault}`));
    await page.evaluate(axe);
    faults.push(...(await page.evaluate(faultsOfAccess)).map((fault) => `${name(screen)}: ${fault}`));
  }
  await context.close();
}

/** Runs in the page: nobody has to scroll sideways. */
function faultsOfLayout() {
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth > clientWidth ? [`it is ${scrollWidth} pixels wide where ${clientWidth} are shown`] : [];
}

/** Runs in the page, after axe. */
async function faultsOfAccess() {
  const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target.join(" ")}: ${failureSummary}`));
}

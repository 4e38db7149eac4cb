// Every screen of one size and language in every theme, as it is when all is well, in its other states, and with what opens
// on it. CONSOLE_URL, SIZE, SPOKEN (a language), EMAIL and PASSWORD of somebody with a job, its JOB_ID, and SCREENSHOTS (a
// folder) come from the environment.
import { newContext, setting, signIn, withBrowser } from "./browser.mjs";
import { moments } from "./moments.mjs";
import { picture, settled, waiting } from "./picture.mjs";
import { inState, states } from "./states.mjs";

const consoleUrl = setting("CONSOLE_URL");
const size = setting("SIZE");
const language = setting("SPOKEN");

const doors = { "sign-in": "/sign-in", "sign-up": "/sign-up", "forgot-password": "/forgot-password" };
const rooms = {
  home: "/",
  playground: "/playground",
  keys: "/keys",
  usage: "/usage",
  "usage-table": "/usage?view=table&by=model",
  receipt: `/jobs/${setting("JOB_ID")}`,
  nodes: "/supply/nodes",
  "not-found": "/nowhere",
};
/** The rooms that read something, and so can wait for it, lack it or be refused it. */
const reading = ["home", "playground", "keys", "usage", "receipt", "nodes"];
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const locales = { en: "en-US", zh: "zh-CN" };
const colorSchemes = ["light", "dark"];

await withBrowser(async (browser, faults) => {
  const storageState = await session(browser, faults);
  for (const colorScheme of colorSchemes) {
    const look = { viewport: sizes[size], locale: locales[language], colorScheme, reducedMotion: "reduce" };
    const name = (screen) => `${screen}-${size}-${language}-${colorScheme}`;
    const outside = await newContext(browser, faults, look);
    const inside = await newContext(browser, faults, { ...look, storageState });
    await visit(outside, doors, name, faults);
    await visit(inside, rooms, name, faults);
    for (const [moment, { signedIn, open }] of Object.entries(moments)) {
      const page = await (signedIn ? inside : outside).newPage();
      await open(page, { consoleUrl, size, name: name(moment) });
      await picture(page, name(moment), faults);
      await page.close();
    }
    // What a state looks like depends on neither language nor theme alone: one look of each is enough.
    if ((language === "en") === (colorScheme === "light")) {
      for (const state of states) await visitInState(inside, state, name, faults);
    }
    await outside.close();
    await inside.close();
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
    await settled(page);
    await picture(page, name(screen), faults);
  }
  await page.close();
}

async function visitInState(context, state, name, faults) {
  const page = await context.newPage();
  await inState(page, state);
  for (const room of reading) {
    // A receipt is there or it is not.
    if (room === "receipt" && state === "empty") continue;
    await page.goto(`${consoleUrl}${rooms[room]}`);
    if (state === "loading") await waiting(page);
    else await settled(page);
    await picture(page, name(`${room}-${state}`), faults);
  }
  await page.close();
}

import { cleanup, configure } from "@testing-library/react";
import { afterEach, beforeEach } from "vitest";

// What jsdom lacks and the components ask for.
window.matchMedia = (media) =>
  ({ media, matches: false, addEventListener: () => {}, removeEventListener: () => {} }) as unknown as MediaQueryList;
window.ResizeObserver = class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
window.scrollTo = () => {};
window.HTMLElement.prototype.scrollIntoView = () => {};
window.HTMLCanvasElement.prototype.getContext = () => null;
Object.defineProperty(document, "fonts", { value: { addEventListener: () => {}, removeEventListener: () => {} } });

// A screen's chunk is loaded on its first visit, which takes a while on a busy machine.
configure({ asyncUtilTimeout: 30_000 });

beforeEach(() => {
  window.localStorage.clear();
  window.localStorage.setItem("tokengrid.language", "en");
});
afterEach(cleanup);

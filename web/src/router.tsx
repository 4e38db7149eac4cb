import { createBrowserRouter } from "react-router";
import { Broken } from "../pages/broken";
import { Frame } from "../pages/frame";
import { NotFound } from "../pages/not-found";

/** Each screen is a chunk of its own; the frame around them is loaded once. */
export const router = createBrowserRouter([
  { path: "/sign-in", lazy: async () => ({ Component: (await import("../pages/sign-in")).SignIn }) },
  { path: "/sign-up", lazy: async () => ({ Component: (await import("../pages/sign-up")).SignUp }) },
  {
    path: "/",
    Component: Frame,
    ErrorBoundary: Broken,
    children: [
      { index: true, lazy: async () => ({ Component: (await import("../pages/home")).Home }) },
      { path: "playground", lazy: async () => ({ Component: (await import("../pages/playground")).Playground }) },
      { path: "keys", lazy: async () => ({ Component: (await import("../pages/keys")).Keys }) },
      { path: "usage", lazy: async () => ({ Component: (await import("../pages/usage")).Usage }) },
      { path: "jobs/:id", lazy: async () => ({ Component: (await import("../pages/job")).Job }) },
      // Not `/nodes`: that is where machines connect.
      { path: "supply/nodes", lazy: async () => ({ Component: (await import("../pages/nodes")).Nodes }) },
      { path: "*", Component: NotFound },
    ],
    HydrateFallback: () => null,
  },
]);

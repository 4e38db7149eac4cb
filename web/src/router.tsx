import type { RouteObject } from "react-router";
import { Broken } from "../pages/broken";
import { Frame } from "../pages/frame";
import { NotFound } from "../pages/not-found";

/** Each screen is a chunk of its own; the frame around them is loaded once. */
export const routes: RouteObject[] = [
  {
    HydrateFallback: Nothing,
    ErrorBoundary: Broken,
    children: [
      { path: "/sign-in", lazy: async () => ({ Component: (await import("../pages/sign-in")).SignIn }) },
      { path: "/sign-up", lazy: async () => ({ Component: (await import("../pages/sign-up")).SignUp }) },
      {
        path: "/forgot-password",
        lazy: async () => ({ Component: (await import("../pages/forgot-password")).ForgotPassword }),
      },
    ],
  },
  {
    path: "/",
    Component: Frame,
    HydrateFallback: Nothing,
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
  },
];

/** Until the first chunk is here. */
function Nothing() {
  return null;
}

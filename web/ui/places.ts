import type { Words } from "../src/i18n";
import type { IconName } from "./icon";

/** A screen that the menu and the palette lead to. */
export interface Place {
  to: string;
  name: keyof Words["nav"];
  icon: IconName;
}

/** What exists, in the console's groups; a group without a page is not shown. */
export const groups: { name: keyof Words["groups"]; places: Place[] }[] = [
  {
    name: "build",
    places: [
      { to: "/", name: "home", icon: "home" },
      { to: "/playground", name: "playground", icon: "play" },
      { to: "/keys", name: "keys", icon: "key" },
    ],
  },
  { name: "spend", places: [{ to: "/usage", name: "usage", icon: "coins" }] },
  { name: "supply", places: [{ to: "/supply/nodes", name: "nodes", icon: "nodes" }] },
];

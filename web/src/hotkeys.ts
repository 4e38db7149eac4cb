import { useEffect, useRef } from "react";

const STORAGE_KEY = "tokengrid.single-keys";

/** Whether letters alone do things; those whose voice or hands type by accident can turn them off. */
export const singleKeys = {
  on: () => window.localStorage.getItem(STORAGE_KEY) !== "off",
  set: (on: boolean) => window.localStorage.setItem(STORAGE_KEY, on ? "on" : "off"),
};

/**
 * Does what a key stands for. A single key does nothing where somebody types or chooses, or in a dialog; `mod+k`, with Ctrl
 * or ⌘, works everywhere.
 */
export function useHotkeys(actions: Record<string, () => void>): void {
  const latest = useRef(actions);
  useEffect(() => {
    latest.current = actions;
  });
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const action = latest.current[named(event)];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

function named(event: KeyboardEvent): string {
  if (event.ctrlKey || event.metaKey) return `mod+${event.key.toLowerCase()}`;
  if (event.altKey || !singleKeys.on() || isTaken(event.target)) return "";
  return event.key.toLowerCase();
}

/** True where keys already have a meaning. */
function isTaken(target: EventTarget | null): boolean {
  const taken = "input, textarea, select, [role=dialog], [role=menu], [role=listbox]";
  return target instanceof Element && target.closest(taken) !== null;
}

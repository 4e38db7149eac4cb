import { useState } from "react";
import { useLocation, useNavigate } from "react-router";
import { useRenewSession } from "./session";

/** What the screens before a session hand to one another: where the person wanted to go, and the address they typed. */
export interface Visit {
  from?: string | undefined;
  email?: string | undefined;
}

/** A code that was asked for. Whoever looks for it in their mail may leave this page and come back. */
export interface Asked {
  id: string;
  expiresAt: string;
}

interface Entry {
  visit: Visit;
  /** The code that is awaited, if one is; it stands in the history's entry, so that no reload loses it. */
  asked: Asked | undefined;
  /** Notes that a code was asked for this address, or that none is awaited any more. */
  ask: (email: string, asked: Asked | undefined) => Promise<void>;
  /** The way in once a session is open. */
  enter: () => Promise<void>;
}

/** The visit so far, and the ways on. */
export function useEntry(): Entry {
  const { pathname, state }: { pathname: string; state: unknown } = useLocation();
  const navigate = useNavigate();
  const renew = useRenewSession();
  const visit = { from: textIn(state, "from"), email: textIn(state, "email") };
  const [asked, setAsked] = useState(() => askedIn(state));
  const ask = async (email: string, next: Asked | undefined) => {
    const { from } = visit;
    setAsked(next);
    await navigate(pathname, { replace: true, state: { from, email, id: next?.id, expiresAt: next?.expiresAt } });
  };
  const enter = async () => {
    renew();
    await navigate(visit.from ?? "/", { replace: true });
  };
  return { visit, asked, ask, enter };
}

function askedIn(state: unknown): Asked | undefined {
  const [id, expiresAt] = [textIn(state, "id"), textIn(state, "expiresAt")];
  return id !== undefined && expiresAt !== undefined ? { id, expiresAt } : undefined;
}

function textIn(state: unknown, name: keyof Visit | keyof Asked): string | undefined {
  const value = typeof state === "object" && state !== null ? Reflect.get(state, name) : undefined;
  return typeof value === "string" ? value : undefined;
}

import { useLocation, useNavigate } from "react-router";
import { useRenewSession } from "./session";

/** What the screens before a session hand to one another: where the person wanted to go, and the address they typed. */
export interface Visit {
  from?: string;
  email?: string;
}

/** The visit so far, and the way in once a session is open. */
export function useEntry(): { visit: Visit; enter: () => Promise<void> } {
  const state: unknown = useLocation().state;
  const navigate = useNavigate();
  const renew = useRenewSession();
  const visit = { from: textIn(state, "from"), email: textIn(state, "email") };
  const enter = async () => {
    renew();
    await navigate(visit.from ?? "/", { replace: true });
  };
  return { visit, enter };
}

function textIn(state: unknown, name: keyof Visit): string | undefined {
  const value = typeof state === "object" && state !== null ? Reflect.get(state, name) : undefined;
  return typeof value === "string" ? value : undefined;
}

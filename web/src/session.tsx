import { createContext, type ReactNode, useContext, useMemo, useState } from "react";
import { type Client, Provider } from "urql";
import { newClient } from "./client";

/** A key that was just made. Its secret lives in this tab's memory, and nowhere else. */
export interface FreshKey {
  id: string;
  secret: string;
}

interface Session {
  renew: () => void;
  freshKey: FreshKey | undefined;
  keepFreshKey: (key: FreshKey | undefined) => void;
  /** What screens keep for when they are opened again, by name. */
  kept: Map<string, unknown>;
}

const Context = createContext<Session | undefined>(undefined);

/** Holds what belongs to one session: its connection, what was read, and the key it made, all of which end with it. */
export function SessionProvider({ children, connect = newClient }: { children: ReactNode; connect?: () => Client }) {
  const [client, setClient] = useState(connect);
  const [freshKey, keepFreshKey] = useState<FreshKey>();
  const [kept] = useState(() => new Map<string, unknown>());
  const session = useMemo(() => {
    // A new session is a new client: nothing that the last person read is left.
    const renew = () => {
      setClient(connect());
      keepFreshKey(undefined);
      kept.clear();
    };
    return { renew, freshKey, keepFreshKey, kept };
  }, [connect, freshKey, kept]);
  return (
    <Context value={session}>
      <Provider value={client}>{children}</Provider>
    </Context>
  );
}

/** To be called after signing in and out. */
export function useRenewSession(): () => void {
  return useSession().renew;
}

/** The key that this tab made last, to be filled into code; and how to keep or forget one. */
export function useFreshKey(): Pick<Session, "freshKey" | "keepFreshKey"> {
  return useSession();
}

/** A state that outlives its screen, so that whoever comes back finds what they left; it ends with the session. */
export function useKept<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const { kept } = useSession();
  // One name, one type: what stands there was put there by this hook.
  const [value, setValue] = useState(() => (kept.has(name) ? (kept.get(name) as Value) : initial));
  const keep = (next: Value) => {
    kept.set(name, next);
    setValue(next);
  };
  return [value, keep];
}

function useSession(): Session {
  const session = useContext(Context);
  if (session === undefined) throw new Error("a session is used outside SessionProvider");
  return session;
}

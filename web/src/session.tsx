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
}

const Context = createContext<Session | undefined>(undefined);

/** Holds what belongs to one session: its connection, what was read, and the key it made, all of which end with it. */
export function SessionProvider({ children, connect = newClient }: { children: ReactNode; connect?: () => Client }) {
  const [client, setClient] = useState(connect);
  const [freshKey, keepFreshKey] = useState<FreshKey>();
  const session = useMemo(() => {
    // A new session is a new client: nothing that the last person read is left.
    const renew = () => {
      setClient(connect());
      keepFreshKey(undefined);
    };
    return { renew, freshKey, keepFreshKey };
  }, [connect, freshKey]);
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

function useSession(): Session {
  const session = useContext(Context);
  if (session === undefined) throw new Error("a session is used outside SessionProvider");
  return session;
}

import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from "react";
import { Provider } from "urql";
import { newClient } from "./client";

const Context = createContext<(() => void) | undefined>(undefined);

/** Holds the connection of one session: what was read and the socket end with it. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const [session, setSession] = useState(0);
  const renew = useCallback(() => setSession((number) => number + 1), []);
  // A new session is a new client: nothing that the last person read is left.
  const client = useMemo(() => ({ session, client: newClient() }), [session]);
  return (
    <Context value={renew}>
      <Provider value={client.client}>{children}</Provider>
    </Context>
  );
}

/** To be called after signing in and out. */
export function useRenewSession(): () => void {
  const renew = useContext(Context);
  if (renew === undefined) throw new Error("useRenewSession is used outside SessionProvider");
  return renew;
}

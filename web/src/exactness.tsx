import { createContext, type ReactNode, useContext, useMemo, useState } from "react";

interface Exactness {
  /** True when nothing is shortened: every amount, count, time and identifier stands in full. */
  exact: boolean;
  toggle: () => void;
}

const Context = createContext<Exactness>({ exact: false, toggle: () => {} });

/** Lets one key show in full, to keyboards and touch, what hovering shows one by one. */
export function ExactnessProvider({ children }: { children: ReactNode }) {
  const [exact, setExact] = useState(false);
  const value = useMemo(() => ({ exact, toggle: () => setExact((now) => !now) }), [exact]);
  return <Context value={value}>{children}</Context>;
}

/** Whether values stand in full, and the switch. */
export function useExactness(): Exactness {
  return useContext(Context);
}

import { Text, Tooltip } from "@mantine/core";
import { useExactness } from "../src/exactness";

interface ExactProps {
  /** What is read at a glance. */
  short: string;
  /** The whole of it. */
  exact: string;
  monospace?: boolean;
  /** The instant, for programs, when the value is one. */
  dateTime?: string;
}

/** A value that is short, and whole on hover or touch; `e` shows every one of them whole. */
export function Exact({ short, exact, monospace = false, dateTime }: ExactProps) {
  const { exact: whole } = useExactness();
  const text = (
    <Text
      component={dateTime === undefined ? "span" : "time"}
      dateTime={dateTime}
      inherit
      ff={monospace ? "monospace" : undefined}
      fz={monospace ? "xs" : undefined}
      style={whole ? { overflowWrap: "anywhere" } : { whiteSpace: "nowrap" }}
    >
      {whole ? exact : short}
    </Text>
  );
  if (whole || short === exact) return text;
  return (
    <Tooltip label={exact} events={{ hover: true, focus: true, touch: true }}>
      {text}
    </Tooltip>
  );
}

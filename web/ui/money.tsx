import { Text, Tooltip } from "@mantine/core";
import { isWhole, isZero } from "../src/decimal";
import { useI18n } from "../src/i18n";

/** An amount as it crosses GraphQL. */
export interface Amount {
  amount: string;
  currency: string;
}

/** Money, the only way the console prints it: short with the exact value on hover, or exact. */
export function Money({ value, exact = false }: { value: Amount; exact?: boolean }) {
  const { language } = useI18n();
  const whole = printed(value, language, {});
  const shown = exact ? whole : printed(value, language, precision(value.amount));
  const text = (
    <Text component="span" inherit style={{ whiteSpace: "nowrap" }}>
      {shown}
    </Text>
  );
  return shown === whole ? text : <Tooltip label={whole}>{text}</Tooltip>;
}

/** Two decimals from one unit up; three significant digits below it. */
function precision(amount: string): Intl.NumberFormatOptions {
  if (isZero(amount) || isWhole(amount)) return { maximumFractionDigits: 2 };
  return { maximumSignificantDigits: 3 };
}

function printed({ amount, currency }: Amount, language: string, precise: Intl.NumberFormatOptions): string {
  const format = new Intl.NumberFormat(language, {
    style: "currency",
    currency,
    currencyDisplay: "code",
    minimumFractionDigits: 2,
    maximumFractionDigits: 12,
    ...precise,
  });
  // A decimal's text is formatted as it is, without passing through a float.
  return format.format(amount as Intl.StringNumericLiteral);
}

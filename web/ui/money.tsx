import { isTenth, isWhole, isZero } from "../src/decimal";
import { graphql } from "../src/gql";
import type { AmountFragment } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { Exact } from "./exact";

graphql(`
  fragment Amount on Money {
    amount
    currency
  }
`);

/** An amount as it crosses GraphQL. */
export type Amount = AmountFragment;

/** Money, the only way the console prints it: short with the exact value on hover, or exact. */
export function Money({ value, exact = false }: { value: Amount; exact?: boolean }) {
  const { language } = useI18n();
  const whole = printed(value, language, {});
  return <Exact short={exact ? whole : shortened(value, language)} exact={whole} />;
}

/** The same words where only text can stand, such as a label that is read aloud. */
export function moneyText(value: Amount, language: string): string {
  return shortened(value, language);
}

/** Two decimals from one unit up, three from a tenth, three significant digits below. */
function shortened(value: Amount, language: string): string {
  if (isZero(value.amount) || isWhole(value.amount)) return printed(value, language, { maximumFractionDigits: 2 });
  if (isTenth(value.amount)) return printed(value, language, { maximumFractionDigits: 3 });
  return printed(value, language, { maximumSignificantDigits: 3 });
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

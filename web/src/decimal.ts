/** Exact arithmetic on the decimal strings that money crosses GraphQL as; no floats. */
interface Exact {
  digits: bigint;
  scale: number;
}

/** Decimals of an amount of money: a nano-unit. */
const MONEY_SCALE = 9;
const MILLION_SCALE = 6;

/** What so many units cost at a price per million, rounded once, half to even, as the ledger does. */
export function lineAmount(perMillion: string, quantity: bigint): string {
  const price = exact(perMillion);
  return text(rounded({ digits: price.digits * quantity, scale: price.scale + MILLION_SCALE }));
}

/** The sum of amounts. */
export function sum(amounts: string[]): string {
  const digits = amounts.reduce((total, amount) => total + rounded(exact(amount)).digits, 0n);
  return text({ digits, scale: MONEY_SCALE });
}

/** True for 0, 0.00 and the like. */
export function isZero(amount: string): boolean {
  return exact(amount).digits === 0n;
}

/** True when the amount is at least one major unit, either way. */
export function isWhole(amount: string): boolean {
  return reaches(amount, 10n);
}

/** True when the amount is at least a tenth of a major unit, either way. */
export function isTenth(amount: string): boolean {
  return reaches(amount, 1n);
}

function reaches(amount: string, tenths: bigint): boolean {
  const { digits, scale } = exact(amount);
  const size = digits < 0n ? -digits : digits;
  return size * 10n >= tenths * 10n ** BigInt(scale);
}

function exact(amount: string): Exact {
  const [whole = "0", fraction = ""] = amount.split(".");
  return { digits: BigInt(whole + fraction), scale: fraction.length };
}

function rounded({ digits, scale }: Exact): Exact {
  if (scale <= MONEY_SCALE) {
    return { digits: digits * 10n ** BigInt(MONEY_SCALE - scale), scale: MONEY_SCALE };
  }
  const unit = 10n ** BigInt(scale - MONEY_SCALE);
  const size = digits < 0n ? -digits : digits;
  const twice = (size % unit) * 2n;
  const floor = size / unit;
  const up = twice > unit || (twice === unit && floor % 2n === 1n);
  const near = up ? floor + 1n : floor;
  return { digits: digits < 0n ? -near : near, scale: MONEY_SCALE };
}

function text({ digits, scale }: Exact): string {
  const size = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0");
  const fraction = size.slice(-scale).replace(/0+$/, "");
  const whole = size.slice(0, -scale);
  return `${digits < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}

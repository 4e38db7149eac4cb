import { useI18n } from "../src/i18n";

/** An account of the ledger, which the API names by its number and its English name, such as `2010 promo credits`. */
export function LedgerAccount({ account }: { account: string }) {
  const { t } = useI18n();
  const [number = "", ...name] = account.split(" ");
  return `${number} ${t.job.account[number] ?? name.join(" ")}`;
}

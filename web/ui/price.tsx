import { graphql } from "../src/gql";
import type { PerMillionFragment } from "../src/gql/graphql";
import { Money } from "./money";

graphql(`
  fragment PerMillion on UnitPrice {
    perMillion
    currency
  }
`);

/** What a million tokens cost, exact. */
export function Price({ value: { perMillion, currency } }: { value: PerMillionFragment }) {
  return <Money value={{ amount: perMillion, currency }} exact />;
}

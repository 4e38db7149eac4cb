/* eslint-disable */
import * as types from './graphql';
import type { TypedDocumentNode as DocumentNode } from '@graphql-typed-document-node/core';

/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "\n  mutation PasswordResetRequest($input: PasswordResetRequestInput!) {\n    passwordResetRequest(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.PasswordResetRequestDocument,
    "\n  mutation PasswordReset($input: PasswordResetInput!) {\n    passwordReset(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.PasswordResetDocument,
    "\n  query Frame {\n    me {\n      id\n      email\n      tenant {\n        id\n        name\n      }\n    }\n  }\n": typeof types.FrameDocument,
    "\n  mutation SignOut {\n    sessionEnd {\n      endedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.SignOutDocument,
    "\n  query Home($from: DateTime!, $to: DateTime!) {\n    balance {\n      available {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n    }\n    apiKeys(first: 20) {\n      nodes {\n        id\n        lastUsedAt\n      }\n    }\n    jobs(first: 20) {\n      nodes {\n        ...JobRow\n        firstTokenAt\n      }\n    }\n    done: jobs(first: 1, filter: { status: DONE }) {\n      nodes {\n        id\n      }\n    }\n    failed: jobs(first: 1, filter: { status: FAILED, from: $from }) {\n      nodes {\n        id\n      }\n    }\n    usage(from: $from, to: $to, groupBy: DAY) {\n      nodes {\n        jobs\n        amount {\n          ...Amount\n        }\n      }\n    }\n    nodes(first: 1) {\n      nodes {\n        id\n      }\n    }\n  }\n": typeof types.HomeDocument,
    "\n  query JobReceipt($jobId: ID!) {\n    job(id: $jobId) {\n      id\n      errorCode\n    }\n    receipt(jobId: $jobId) {\n      jobId\n      model\n      status\n      finishReason\n      lines {\n        meter\n        quantity\n        unitPrice {\n          ...PerMillion\n        }\n        amount {\n          ...Amount\n        }\n      }\n      total {\n        ...Amount\n      }\n      hold {\n        ...Amount\n      }\n      holdReleased {\n        ...Amount\n      }\n      transfers {\n        id\n        kind\n        debit\n        credit\n        amount {\n          ...Amount\n        }\n        at\n      }\n      block {\n        height\n        hash\n      }\n      segments {\n        epoch\n        nodeId\n        tokens\n        outcome\n        grantedAt\n        endedAt\n      }\n      receivedAt\n      firstTokenAt\n      endedAt\n    }\n  }\n": typeof types.JobReceiptDocument,
    "\n  mutation KeyCreate($input: ApiKeyCreateInput!) {\n    apiKeyCreate(input: $input) {\n      apiKey {\n        id\n      }\n      secret\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.KeyCreateDocument,
    "\n  query Keys($after: String) {\n    apiKeys(first: 50, after: $after) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        id\n        name\n        hint\n        createdAt\n        expiresAt\n        revokedAt\n        lastUsedAt\n      }\n    }\n  }\n": typeof types.KeysDocument,
    "\n  mutation KeyRevoke($input: ApiKeyRevokeInput!) {\n    apiKeyRevoke(input: $input) {\n      id\n      revokedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.KeyRevokeDocument,
    "\n  query Nodes {\n    nodes(first: 100) {\n      nodes {\n        id\n        name\n        tier\n        chip\n        engine\n        connectedAt\n        draining\n        load {\n          running\n          waiting\n        }\n        models {\n          model\n          slots\n          slotsFree\n          firstTokenMs\n          tokensPerSecond\n          reliability\n        }\n      }\n    }\n  }\n": typeof types.NodesDocument,
    "\n  mutation PlaygroundSubmit($input: JobSubmitInput!) {\n    jobSubmit(input: $input) {\n      job {\n        id\n        promptTokens\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.PlaygroundSubmitDocument,
    "\n  mutation PlaygroundCancel($input: JobCancelInput!) {\n    jobCancel(input: $input) {\n      job {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.PlaygroundCancelDocument,
    "\n  subscription PlaygroundTokens($jobId: ID!) {\n    jobTokens(jobId: $jobId) {\n      __typename\n      ... on JobPiece {\n        text\n        tokens\n      }\n      ... on JobEnded {\n        status\n        finishReason\n        promptTokens\n        outputTokens\n        charge {\n          ...Amount\n        }\n        failure {\n          ...Refused\n        }\n      }\n    }\n  }\n": typeof types.PlaygroundTokensDocument,
    "\n  query PlaygroundModels {\n    models(first: 100) {\n      nodes {\n        id\n        name\n        kind\n        outputTokensMax\n        inputPrice {\n          ...PerMillion\n        }\n        cachedInputPrice {\n          ...PerMillion\n        }\n        outputPrice {\n          ...PerMillion\n        }\n        nodes\n      }\n    }\n  }\n": typeof types.PlaygroundModelsDocument,
    "\n  mutation SignIn($input: SessionCreateInput!) {\n    sessionCreate(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.SignInDocument,
    "\n  mutation SignUp($input: UserSignUpInput!) {\n    userSignUp(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.SignUpDocument,
    "\n  mutation Verify($input: UserVerifyInput!) {\n    userVerify(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": typeof types.VerifyDocument,
    "\n  query UsageJobs($filter: JobFilter!, $after: String) {\n    jobs(first: 20, after: $after, filter: $filter) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...JobRow\n      }\n    }\n    models(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n    apiKeys(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n  }\n": typeof types.UsageJobsDocument,
    "\n  query UsageSpend($from: DateTime!, $to: DateTime!, $groupBy: UsageGroup!) {\n    usage(from: $from, to: $to, groupBy: $groupBy, first: 100) {\n      pageInfo {\n        hasNextPage\n      }\n      nodes {\n        key\n        name\n        jobs\n        inputTokens\n        outputTokens\n        amount {\n          ...Amount\n        }\n      }\n    }\n  }\n": typeof types.UsageSpendDocument,
    "\n  query Balance {\n    balance {\n      posted {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n      available {\n        ...Amount\n      }\n      lots {\n        kind\n        amount {\n          ...Amount\n        }\n        expiresAt\n        lapsed\n      }\n    }\n  }\n": typeof types.BalanceDocument,
    "\n  fragment CodeSent on EmailChallenge {\n    id\n    expiresAt\n  }\n": typeof types.CodeSentFragmentDoc,
    "\n  fragment Refused on Refusal {\n    code\n    message\n    param\n    retryAfterMs\n  }\n": typeof types.RefusedFragmentDoc,
    "\n  fragment JobRow on Job {\n    id\n    model\n    status\n    promptTokens\n    outputTokens\n    charge {\n      ...Amount\n    }\n    receivedAt\n  }\n": typeof types.JobRowFragmentDoc,
    "\n  fragment Amount on Money {\n    amount\n    currency\n  }\n": typeof types.AmountFragmentDoc,
    "\n  fragment PerMillion on UnitPrice {\n    perMillion\n    currency\n  }\n": typeof types.PerMillionFragmentDoc,
};
const documents: Documents = {
    "\n  mutation PasswordResetRequest($input: PasswordResetRequestInput!) {\n    passwordResetRequest(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.PasswordResetRequestDocument,
    "\n  mutation PasswordReset($input: PasswordResetInput!) {\n    passwordReset(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.PasswordResetDocument,
    "\n  query Frame {\n    me {\n      id\n      email\n      tenant {\n        id\n        name\n      }\n    }\n  }\n": types.FrameDocument,
    "\n  mutation SignOut {\n    sessionEnd {\n      endedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.SignOutDocument,
    "\n  query Home($from: DateTime!, $to: DateTime!) {\n    balance {\n      available {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n    }\n    apiKeys(first: 20) {\n      nodes {\n        id\n        lastUsedAt\n      }\n    }\n    jobs(first: 20) {\n      nodes {\n        ...JobRow\n        firstTokenAt\n      }\n    }\n    done: jobs(first: 1, filter: { status: DONE }) {\n      nodes {\n        id\n      }\n    }\n    failed: jobs(first: 1, filter: { status: FAILED, from: $from }) {\n      nodes {\n        id\n      }\n    }\n    usage(from: $from, to: $to, groupBy: DAY) {\n      nodes {\n        jobs\n        amount {\n          ...Amount\n        }\n      }\n    }\n    nodes(first: 1) {\n      nodes {\n        id\n      }\n    }\n  }\n": types.HomeDocument,
    "\n  query JobReceipt($jobId: ID!) {\n    job(id: $jobId) {\n      id\n      errorCode\n    }\n    receipt(jobId: $jobId) {\n      jobId\n      model\n      status\n      finishReason\n      lines {\n        meter\n        quantity\n        unitPrice {\n          ...PerMillion\n        }\n        amount {\n          ...Amount\n        }\n      }\n      total {\n        ...Amount\n      }\n      hold {\n        ...Amount\n      }\n      holdReleased {\n        ...Amount\n      }\n      transfers {\n        id\n        kind\n        debit\n        credit\n        amount {\n          ...Amount\n        }\n        at\n      }\n      block {\n        height\n        hash\n      }\n      segments {\n        epoch\n        nodeId\n        tokens\n        outcome\n        grantedAt\n        endedAt\n      }\n      receivedAt\n      firstTokenAt\n      endedAt\n    }\n  }\n": types.JobReceiptDocument,
    "\n  mutation KeyCreate($input: ApiKeyCreateInput!) {\n    apiKeyCreate(input: $input) {\n      apiKey {\n        id\n      }\n      secret\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.KeyCreateDocument,
    "\n  query Keys($after: String) {\n    apiKeys(first: 50, after: $after) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        id\n        name\n        hint\n        createdAt\n        expiresAt\n        revokedAt\n        lastUsedAt\n      }\n    }\n  }\n": types.KeysDocument,
    "\n  mutation KeyRevoke($input: ApiKeyRevokeInput!) {\n    apiKeyRevoke(input: $input) {\n      id\n      revokedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.KeyRevokeDocument,
    "\n  query Nodes {\n    nodes(first: 100) {\n      nodes {\n        id\n        name\n        tier\n        chip\n        engine\n        connectedAt\n        draining\n        load {\n          running\n          waiting\n        }\n        models {\n          model\n          slots\n          slotsFree\n          firstTokenMs\n          tokensPerSecond\n          reliability\n        }\n      }\n    }\n  }\n": types.NodesDocument,
    "\n  mutation PlaygroundSubmit($input: JobSubmitInput!) {\n    jobSubmit(input: $input) {\n      job {\n        id\n        promptTokens\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.PlaygroundSubmitDocument,
    "\n  mutation PlaygroundCancel($input: JobCancelInput!) {\n    jobCancel(input: $input) {\n      job {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.PlaygroundCancelDocument,
    "\n  subscription PlaygroundTokens($jobId: ID!) {\n    jobTokens(jobId: $jobId) {\n      __typename\n      ... on JobPiece {\n        text\n        tokens\n      }\n      ... on JobEnded {\n        status\n        finishReason\n        promptTokens\n        outputTokens\n        charge {\n          ...Amount\n        }\n        failure {\n          ...Refused\n        }\n      }\n    }\n  }\n": types.PlaygroundTokensDocument,
    "\n  query PlaygroundModels {\n    models(first: 100) {\n      nodes {\n        id\n        name\n        kind\n        outputTokensMax\n        inputPrice {\n          ...PerMillion\n        }\n        cachedInputPrice {\n          ...PerMillion\n        }\n        outputPrice {\n          ...PerMillion\n        }\n        nodes\n      }\n    }\n  }\n": types.PlaygroundModelsDocument,
    "\n  mutation SignIn($input: SessionCreateInput!) {\n    sessionCreate(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.SignInDocument,
    "\n  mutation SignUp($input: UserSignUpInput!) {\n    userSignUp(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.SignUpDocument,
    "\n  mutation Verify($input: UserVerifyInput!) {\n    userVerify(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n": types.VerifyDocument,
    "\n  query UsageJobs($filter: JobFilter!, $after: String) {\n    jobs(first: 20, after: $after, filter: $filter) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...JobRow\n      }\n    }\n    models(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n    apiKeys(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n  }\n": types.UsageJobsDocument,
    "\n  query UsageSpend($from: DateTime!, $to: DateTime!, $groupBy: UsageGroup!) {\n    usage(from: $from, to: $to, groupBy: $groupBy, first: 100) {\n      pageInfo {\n        hasNextPage\n      }\n      nodes {\n        key\n        name\n        jobs\n        inputTokens\n        outputTokens\n        amount {\n          ...Amount\n        }\n      }\n    }\n  }\n": types.UsageSpendDocument,
    "\n  query Balance {\n    balance {\n      posted {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n      available {\n        ...Amount\n      }\n      lots {\n        kind\n        amount {\n          ...Amount\n        }\n        expiresAt\n        lapsed\n      }\n    }\n  }\n": types.BalanceDocument,
    "\n  fragment CodeSent on EmailChallenge {\n    id\n    expiresAt\n  }\n": types.CodeSentFragmentDoc,
    "\n  fragment Refused on Refusal {\n    code\n    message\n    param\n    retryAfterMs\n  }\n": types.RefusedFragmentDoc,
    "\n  fragment JobRow on Job {\n    id\n    model\n    status\n    promptTokens\n    outputTokens\n    charge {\n      ...Amount\n    }\n    receivedAt\n  }\n": types.JobRowFragmentDoc,
    "\n  fragment Amount on Money {\n    amount\n    currency\n  }\n": types.AmountFragmentDoc,
    "\n  fragment PerMillion on UnitPrice {\n    perMillion\n    currency\n  }\n": types.PerMillionFragmentDoc,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 *
 *
 * @example
 * ```ts
 * const query = graphql(`query GetUser($id: ID!) { user(id: $id) { name } }`);
 * ```
 *
 * The query argument is unknown!
 * Please regenerate the types.
 */
export function graphql(source: string): unknown;

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation PasswordResetRequest($input: PasswordResetRequestInput!) {\n    passwordResetRequest(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation PasswordResetRequest($input: PasswordResetRequestInput!) {\n    passwordResetRequest(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation PasswordReset($input: PasswordResetInput!) {\n    passwordReset(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation PasswordReset($input: PasswordResetInput!) {\n    passwordReset(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Frame {\n    me {\n      id\n      email\n      tenant {\n        id\n        name\n      }\n    }\n  }\n"): (typeof documents)["\n  query Frame {\n    me {\n      id\n      email\n      tenant {\n        id\n        name\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SignOut {\n    sessionEnd {\n      endedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation SignOut {\n    sessionEnd {\n      endedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Home($from: DateTime!, $to: DateTime!) {\n    balance {\n      available {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n    }\n    apiKeys(first: 20) {\n      nodes {\n        id\n        lastUsedAt\n      }\n    }\n    jobs(first: 20) {\n      nodes {\n        ...JobRow\n        firstTokenAt\n      }\n    }\n    done: jobs(first: 1, filter: { status: DONE }) {\n      nodes {\n        id\n      }\n    }\n    failed: jobs(first: 1, filter: { status: FAILED, from: $from }) {\n      nodes {\n        id\n      }\n    }\n    usage(from: $from, to: $to, groupBy: DAY) {\n      nodes {\n        jobs\n        amount {\n          ...Amount\n        }\n      }\n    }\n    nodes(first: 1) {\n      nodes {\n        id\n      }\n    }\n  }\n"): (typeof documents)["\n  query Home($from: DateTime!, $to: DateTime!) {\n    balance {\n      available {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n    }\n    apiKeys(first: 20) {\n      nodes {\n        id\n        lastUsedAt\n      }\n    }\n    jobs(first: 20) {\n      nodes {\n        ...JobRow\n        firstTokenAt\n      }\n    }\n    done: jobs(first: 1, filter: { status: DONE }) {\n      nodes {\n        id\n      }\n    }\n    failed: jobs(first: 1, filter: { status: FAILED, from: $from }) {\n      nodes {\n        id\n      }\n    }\n    usage(from: $from, to: $to, groupBy: DAY) {\n      nodes {\n        jobs\n        amount {\n          ...Amount\n        }\n      }\n    }\n    nodes(first: 1) {\n      nodes {\n        id\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query JobReceipt($jobId: ID!) {\n    job(id: $jobId) {\n      id\n      errorCode\n    }\n    receipt(jobId: $jobId) {\n      jobId\n      model\n      status\n      finishReason\n      lines {\n        meter\n        quantity\n        unitPrice {\n          ...PerMillion\n        }\n        amount {\n          ...Amount\n        }\n      }\n      total {\n        ...Amount\n      }\n      hold {\n        ...Amount\n      }\n      holdReleased {\n        ...Amount\n      }\n      transfers {\n        id\n        kind\n        debit\n        credit\n        amount {\n          ...Amount\n        }\n        at\n      }\n      block {\n        height\n        hash\n      }\n      segments {\n        epoch\n        nodeId\n        tokens\n        outcome\n        grantedAt\n        endedAt\n      }\n      receivedAt\n      firstTokenAt\n      endedAt\n    }\n  }\n"): (typeof documents)["\n  query JobReceipt($jobId: ID!) {\n    job(id: $jobId) {\n      id\n      errorCode\n    }\n    receipt(jobId: $jobId) {\n      jobId\n      model\n      status\n      finishReason\n      lines {\n        meter\n        quantity\n        unitPrice {\n          ...PerMillion\n        }\n        amount {\n          ...Amount\n        }\n      }\n      total {\n        ...Amount\n      }\n      hold {\n        ...Amount\n      }\n      holdReleased {\n        ...Amount\n      }\n      transfers {\n        id\n        kind\n        debit\n        credit\n        amount {\n          ...Amount\n        }\n        at\n      }\n      block {\n        height\n        hash\n      }\n      segments {\n        epoch\n        nodeId\n        tokens\n        outcome\n        grantedAt\n        endedAt\n      }\n      receivedAt\n      firstTokenAt\n      endedAt\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation KeyCreate($input: ApiKeyCreateInput!) {\n    apiKeyCreate(input: $input) {\n      apiKey {\n        id\n      }\n      secret\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation KeyCreate($input: ApiKeyCreateInput!) {\n    apiKeyCreate(input: $input) {\n      apiKey {\n        id\n      }\n      secret\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Keys($after: String) {\n    apiKeys(first: 50, after: $after) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        id\n        name\n        hint\n        createdAt\n        expiresAt\n        revokedAt\n        lastUsedAt\n      }\n    }\n  }\n"): (typeof documents)["\n  query Keys($after: String) {\n    apiKeys(first: 50, after: $after) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        id\n        name\n        hint\n        createdAt\n        expiresAt\n        revokedAt\n        lastUsedAt\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation KeyRevoke($input: ApiKeyRevokeInput!) {\n    apiKeyRevoke(input: $input) {\n      id\n      revokedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation KeyRevoke($input: ApiKeyRevokeInput!) {\n    apiKeyRevoke(input: $input) {\n      id\n      revokedAt\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Nodes {\n    nodes(first: 100) {\n      nodes {\n        id\n        name\n        tier\n        chip\n        engine\n        connectedAt\n        draining\n        load {\n          running\n          waiting\n        }\n        models {\n          model\n          slots\n          slotsFree\n          firstTokenMs\n          tokensPerSecond\n          reliability\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query Nodes {\n    nodes(first: 100) {\n      nodes {\n        id\n        name\n        tier\n        chip\n        engine\n        connectedAt\n        draining\n        load {\n          running\n          waiting\n        }\n        models {\n          model\n          slots\n          slotsFree\n          firstTokenMs\n          tokensPerSecond\n          reliability\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation PlaygroundSubmit($input: JobSubmitInput!) {\n    jobSubmit(input: $input) {\n      job {\n        id\n        promptTokens\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation PlaygroundSubmit($input: JobSubmitInput!) {\n    jobSubmit(input: $input) {\n      job {\n        id\n        promptTokens\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation PlaygroundCancel($input: JobCancelInput!) {\n    jobCancel(input: $input) {\n      job {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation PlaygroundCancel($input: JobCancelInput!) {\n    jobCancel(input: $input) {\n      job {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription PlaygroundTokens($jobId: ID!) {\n    jobTokens(jobId: $jobId) {\n      __typename\n      ... on JobPiece {\n        text\n        tokens\n      }\n      ... on JobEnded {\n        status\n        finishReason\n        promptTokens\n        outputTokens\n        charge {\n          ...Amount\n        }\n        failure {\n          ...Refused\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription PlaygroundTokens($jobId: ID!) {\n    jobTokens(jobId: $jobId) {\n      __typename\n      ... on JobPiece {\n        text\n        tokens\n      }\n      ... on JobEnded {\n        status\n        finishReason\n        promptTokens\n        outputTokens\n        charge {\n          ...Amount\n        }\n        failure {\n          ...Refused\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query PlaygroundModels {\n    models(first: 100) {\n      nodes {\n        id\n        name\n        kind\n        outputTokensMax\n        inputPrice {\n          ...PerMillion\n        }\n        cachedInputPrice {\n          ...PerMillion\n        }\n        outputPrice {\n          ...PerMillion\n        }\n        nodes\n      }\n    }\n  }\n"): (typeof documents)["\n  query PlaygroundModels {\n    models(first: 100) {\n      nodes {\n        id\n        name\n        kind\n        outputTokensMax\n        inputPrice {\n          ...PerMillion\n        }\n        cachedInputPrice {\n          ...PerMillion\n        }\n        outputPrice {\n          ...PerMillion\n        }\n        nodes\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SignIn($input: SessionCreateInput!) {\n    sessionCreate(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation SignIn($input: SessionCreateInput!) {\n    sessionCreate(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SignUp($input: UserSignUpInput!) {\n    userSignUp(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation SignUp($input: UserSignUpInput!) {\n    userSignUp(input: $input) {\n      challenge {\n        ...CodeSent\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation Verify($input: UserVerifyInput!) {\n    userVerify(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"): (typeof documents)["\n  mutation Verify($input: UserVerifyInput!) {\n    userVerify(input: $input) {\n      me {\n        id\n      }\n      refusal {\n        ...Refused\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query UsageJobs($filter: JobFilter!, $after: String) {\n    jobs(first: 20, after: $after, filter: $filter) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...JobRow\n      }\n    }\n    models(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n    apiKeys(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n  }\n"): (typeof documents)["\n  query UsageJobs($filter: JobFilter!, $after: String) {\n    jobs(first: 20, after: $after, filter: $filter) {\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...JobRow\n      }\n    }\n    models(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n    apiKeys(first: 100) {\n      nodes {\n        id\n        name\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query UsageSpend($from: DateTime!, $to: DateTime!, $groupBy: UsageGroup!) {\n    usage(from: $from, to: $to, groupBy: $groupBy, first: 100) {\n      pageInfo {\n        hasNextPage\n      }\n      nodes {\n        key\n        name\n        jobs\n        inputTokens\n        outputTokens\n        amount {\n          ...Amount\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  query UsageSpend($from: DateTime!, $to: DateTime!, $groupBy: UsageGroup!) {\n    usage(from: $from, to: $to, groupBy: $groupBy, first: 100) {\n      pageInfo {\n        hasNextPage\n      }\n      nodes {\n        key\n        name\n        jobs\n        inputTokens\n        outputTokens\n        amount {\n          ...Amount\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Balance {\n    balance {\n      posted {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n      available {\n        ...Amount\n      }\n      lots {\n        kind\n        amount {\n          ...Amount\n        }\n        expiresAt\n        lapsed\n      }\n    }\n  }\n"): (typeof documents)["\n  query Balance {\n    balance {\n      posted {\n        ...Amount\n      }\n      pending {\n        ...Amount\n      }\n      available {\n        ...Amount\n      }\n      lots {\n        kind\n        amount {\n          ...Amount\n        }\n        expiresAt\n        lapsed\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment CodeSent on EmailChallenge {\n    id\n    expiresAt\n  }\n"): (typeof documents)["\n  fragment CodeSent on EmailChallenge {\n    id\n    expiresAt\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment Refused on Refusal {\n    code\n    message\n    param\n    retryAfterMs\n  }\n"): (typeof documents)["\n  fragment Refused on Refusal {\n    code\n    message\n    param\n    retryAfterMs\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment JobRow on Job {\n    id\n    model\n    status\n    promptTokens\n    outputTokens\n    charge {\n      ...Amount\n    }\n    receivedAt\n  }\n"): (typeof documents)["\n  fragment JobRow on Job {\n    id\n    model\n    status\n    promptTokens\n    outputTokens\n    charge {\n      ...Amount\n    }\n    receivedAt\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment Amount on Money {\n    amount\n    currency\n  }\n"): (typeof documents)["\n  fragment Amount on Money {\n    amount\n    currency\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment PerMillion on UnitPrice {\n    perMillion\n    currency\n  }\n"): (typeof documents)["\n  fragment PerMillion on UnitPrice {\n    perMillion\n    currency\n  }\n"];

export function graphql(source: string) {
  return (documents as any)[source] ?? {};
}

export type DocumentType<TDocumentNode extends DocumentNode<any, any>> = TDocumentNode extends DocumentNode<  infer TType,  any>  ? TType  : never;
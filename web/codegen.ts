import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: ["{pages,ui}/**/*.tsx"],
  ignoreNoDocuments: true,
  generates: {
    "src/gql/": {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        useTypeImports: true,
        enumsAsTypes: true,
        strictScalars: true,
        // Numbers that must not pass through floats stay text.
        scalars: {
          BigInt: { input: "string", output: "string" },
          DateTime: { input: "string", output: "string" },
          Decimal: { input: "string", output: "string" },
        },
      },
    },
  },
};

export default config;

import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  { languageOptions: { ecmaVersion: 2022, sourceType: "module" } },
  { files: ["**/django_hub/hub.js", "**/django_hub/admin/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["**/tests/js/**", "**/*.test.js"], languageOptions: { globals: globals.node } },
];

/** How a client is pointed at the gateway: one line changes, the rest proves that it works. */
export type Snippet = { id: string; label: string; code: string };

const MODEL = "claude-haiku-5-5";

/** `url` is the gateway's address without a slash at its end. */
export function clientSnippets(url: string): Snippet[] {
  return [
    {
      id: "claude-code",
      label: "Claude Code",
      code: `# in the shell that starts the agent\nexport ANTHROPIC_BASE_URL=${url}\nclaude "say hello"`,
    },
    {
      id: "python",
      label: "Python",
      code: `from anthropic import Anthropic

client = Anthropic(base_url="${url}")
message = client.messages.create(
    model="${MODEL}",
    max_tokens=64,
    messages=[{"role": "user", "content": "Say hello"}],
)
print(message.content[0].text)`,
    },
    {
      id: "typescript",
      label: "TypeScript",
      code: `import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "${url}" });
const message = await client.messages.create({
  model: "${MODEL}",
  max_tokens: 64,
  messages: [{ role: "user", content: "Say hello" }],
});
console.log(message.content);`,
    },
    {
      id: "curl",
      label: "curl",
      code: `curl ${url}/v1/messages \\
  -H "x-api-key: $ANTHROPIC_API_KEY" \\
  -H "anthropic-version: 2023-06-01" \\
  -H "content-type: application/json" \\
  -d '{"model":"${MODEL}","max_tokens":64,"messages":[{"role":"user","content":"Say hello"}]}'`,
    },
    { id: "env", label: ".env", code: `ANTHROPIC_BASE_URL=${url}` },
  ];
}

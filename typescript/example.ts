// Remember, recall, pack a context: every path, field and answer is typed by what was generated. `make typescript` compiles it.
import createClient from "openapi-fetch";
import type { paths } from "./build/schema.js";

export function connect(url: string, key: string) {
  return createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
}

export async function rememberAndRecall(url: string, key: string): Promise<string[]> {
  const memoryd = connect(url, key);
  const written = await memoryd.POST("/v1/memories", {
    params: { header: { "idempotency-key": crypto.randomUUID() } },
    body: { memories: [{ text: "Maya is vegetarian.", kind: "preference", user_id: "maya" }] },
  });
  if (written.error) throw new Error(`${written.error.code}: ${written.error.detail}`);
  const found = await memoryd.POST("/v1/recall", { body: { query: "What does Maya eat?", limit: 5 } });
  if (found.error) throw new Error(found.error.code);
  return found.data.hits.map((hit) => `${hit.score.toFixed(2)} ${hit.text}`);
}

export async function pack(url: string, key: string, query: string): Promise<string> {
  const { data, error } = await connect(url, key).POST("/v1/context", { body: { query, budget_tokens: 600 } });
  if (error) throw new Error(error.code);
  return data.text;
}

export async function window(url: string, key: string, session_id: string): Promise<string> {
  const { data, error } = await connect(url, key).GET("/v1/sessions/{session_id}/context", {
    params: { path: { session_id }, query: { budget_tokens: 4000 } },
  });
  if (error) throw new Error(error.code);
  return data.text;
}

export async function mistakes(url: string, key: string): Promise<void> {
  const memoryd = connect(url, key);
  // @ts-expect-error a kind that there is not
  await memoryd.POST("/v1/memories", { body: { memories: [{ text: "Maya is vegetarian.", kind: "rumour" }] } });
  // @ts-expect-error a path that there is not
  await memoryd.GET("/v1/remember", {});
  // @ts-expect-error a query is needed
  await memoryd.POST("/v1/recall", { body: { limit: 5 } });
}

import type { Route } from './route.ts';

/** Makes the OpenAPI document of some routes. */
export function openApiDocument(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, summary, body, streams } of routes) {
    paths[path] ??= {};
    paths[path][method] = {
      summary,
      ...(body && { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
      responses: {
        200: { description: 'result', content: { [streams ? 'text/event-stream' : 'application/json']: {} } },
        400: { description: 'wrong request: {"error": {"message", "type", "param", "code", "help"}}' },
        401: { description: 'missing or wrong bearer token' },
        413: { description: 'body too large' },
        503: { description: 'too many requests at once' },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Undrift', version, description: 'Search over a store of passages and their vectors.' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{}, { token: [] }],
    paths,
  };
}

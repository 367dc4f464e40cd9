/**
 * An answer to `/api/models` as 0.12 gives it, 1.2 KB a model, which is what descriptions and icons come to.
 *
 * @param ids 300 of them make 340 KB
 */
export function modelList(ids: readonly string[]): string {
  const data = ids.map((id, index) => {
    return {
      id,
      name: `Provider: Model ${index}`,
      object: 'model',
      created: 1_700_000_000 + index,
      owned_by: 'openai',
      connection_type: 'external',
      openai: { id, created: 1_700_000_000 + index, context_length: 128_000, pricing: { prompt: '0.0000025' } },
      urlIdx: 0,
      info: {
        id,
        base_model_id: null,
        name: `Provider: Model ${index}`,
        params: { temperature: 0.7 },
        meta: {
          profile_image_url: `data:image/png;base64,${'iVBORw0KGgoAAAANSUhEUgAA'.repeat(16)}`,
          description: 'A model "for everything", with long context and tools.\n'.repeat(3),
          capabilities: { vision: true, file_upload: true, web_search: true, citations: true, usage: false },
          tags: [{ name: 'chat' }, { name: 'tools' }],
        },
        is_active: true,
      },
      actions: [],
      filters: [],
      tags: [{ name: 'chat' }],
    };
  });
  return JSON.stringify({ data });
}

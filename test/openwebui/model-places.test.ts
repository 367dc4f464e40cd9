/**
 * No place is unknown by accident: `model-places.json` has a row for each function of the installed backend that takes a
 * model, parameters of a run, or a name that tells of models. Its classes say what the gate does there, and which test
 * proves it.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type FoundPlaces, findModelPlaces } from './model-places.ts';
import { type Release, RELEASES } from './release.ts';

interface PlaceClass {
  /** What the backend takes there. */
  readonly what: string;
  readonly gate: string;
  /** Tests whose file holds the title. */
  readonly proof?: readonly { readonly file: string; readonly title: string }[];
  /** What the README says is not enforced there. */
  readonly readme?: string;
}

/** The classes and the keys are separated by spaces; `reads` stands for every release, where they read alike. */
type Row = Readonly<Partial<Record<Release | 'reads', string>> & { class: string }>;

interface Table {
  readonly classes: Readonly<Record<string, PlaceClass>>;
  readonly places: Readonly<Record<string, Row>>;
}

const root = new URL('../../', import.meta.url);
const textOf = (file: string): string => readFileSync(new URL(file, root), 'utf8');
const table = JSON.parse(textOf('test/openwebui/model-places.json')) as Table;
const rows = Object.entries(table.places);

const WHAT_TO_DO =
  'Read what it does with models, decide what the gate must do there and prove it by a test, then write it into model-places.json';

/** Where the table and the backend do not say the same, in sentences. */
function differences(found: FoundPlaces, release: Release, places: Table['places']): string[] {
  const read = [...found].flatMap(([place, keys]) => {
    const row = places[place];
    const expected = row?.reads ?? row?.[release];
    if (expected === undefined) return `${place} is new in ${release}: it reads ${keys.join(' ')}. ${WHAT_TO_DO}`;
    if (expected === keys.join(' ')) return [];
    return `${place} reads ${keys.join(' ')} in ${release}, the table says ${expected}. ${WHAT_TO_DO}`;
  });
  const gone = Object.entries(places)
    .filter(([place, row]) => !found.has(place) && (row.reads ?? row[release]) !== undefined)
    .map(([place]) => `${place} reads no model in ${release} any more: take it out of model-places.json`);
  return [...read, ...gone];
}

describe.each(RELEASES)('where Open WebUI %s takes a model', (release) => {
  let found: FoundPlaces;
  beforeAll(async () => {
    found = await findModelPlaces(release);
  });

  test('is found: in requests, rows, stored messages and settings', () => {
    expect(found.get('main.py:chat_completion')).toContain('model');
    expect(found.get('routers/openai.py:generate_chat_completion')).toContain('base_model_id');
    expect(found.get('utils/payload.py:apply_model_params_to_body_openai')).toEqual(['custom_params']);
    expect(found.get('models/models.py:ModelForm')).toEqual(['base_model_id', 'params']);
    const ofNew = found.get('utils/subagents.py:process_pending_internal_messages') ?? [];
    const ofOld = found.get('utils/middleware.py:process_chat_response') ?? [];
    expect([...ofNew, ...ofOld]).toContain('model');
    expect(found.size).toBeGreaterThan(100);
  });

  test('stands in the table, with the keys that it reads', () => {
    expect(differences(found, release, table.places)).toEqual([]);
  });
});

describe('the table of places', () => {
  test('gives each row classes that there are, and uses every class', () => {
    const used = new Set(rows.flatMap(([, row]) => row.class.split(' ')));
    expect([...used].sort()).toEqual(Object.keys(table.classes).sort());
  });

  test('has a row only where a release reads something', () => {
    const empty = rows.filter(([, row]) => [row.reads, ...RELEASES.map((release) => row[release])].every((it) => !it));
    expect(empty).toEqual([]);
  });

  test.each(Object.entries(table.classes))('proves what it says of %s', (_name, { what, gate, proof, readme }) => {
    expect([what, gate].every((text) => text.length > 0)).toBe(true);
    expect((proof?.length ?? 0) > 0 || readme !== undefined).toBe(true);
    for (const { file, title } of proof ?? []) {
      expect(file).toMatch(/^test\/.*\.ts$/);
      expect(existsSync(new URL(file, root)), `${file} is not there`).toBe(true);
      expect(textOf(file)).toContain(title);
    }
    if (readme !== undefined) expect(textOf('README.md')).toContain(readme);
  });
});

describe('a place that a release adds or changes', () => {
  const SOURCE = `
MODEL = os.environ.get('TASK_MODEL')

@router.get('/x')
async def shown(model_id: str, page: int):
    return subprocess.run(page)

class Form(BaseModel):
    model: str
    note: str

    def named(self):
        def inner(stored):
            return stored['model_id'] or stored.get('meta', {}).pop('run')
        return [inner(self), self.model]

def written(row, value):
    row['model'] = value
    row.model = value
    return {'model': value, 'text': 'a model'}

def listed(form):
    return [form[key] for key in ('models', 'name') if 'custom_params' in form] + [form.params, form.params()]
`;
  const EXPECTED = {
    'routers/new.py:*': ['TASK_MODEL'],
    'routers/new.py:shown': ['model_id'],
    'routers/new.py:Form': ['model'],
    'routers/new.py:Form.named': ['model_id', 'run'],
    'routers/new.py:listed': ['custom_params', 'models', 'params'],
  };
  const places = Object.fromEntries(
    Object.entries(EXPECTED).map(([place, keys]) => [place, { class: 'request', reads: keys.join(' ') }]),
  );

  /** What is found in a package of that one file, and of files that are no part of the backend. */
  async function findIn(source: string): Promise<FoundPlaces> {
    const folder = mkdtempSync(join(tmpdir(), 'modelgate-places-'));
    try {
      for (const name of ['routers', 'test', 'migrations']) {
        mkdirSync(join(folder, name));
        writeFileSync(join(folder, name, 'new.py'), source);
      }
      return await findModelPlaces(RELEASES[0], folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  test('is found in every form of reading, and nothing that is only written', async () => {
    const found = await findIn(SOURCE);
    expect(Object.fromEntries(found)).toEqual(EXPECTED);
    expect(differences(found, RELEASES[0], places)).toEqual([]);
  });

  test.each([
    [
      'a new function',
      `${SOURCE}\ndef added(message):\n    return message['model']\n`,
      /^routers\/new\.py:added is new in .*: it reads model\. Read what it does/,
    ],
    [
      'another key in a function that was read',
      SOURCE.replace("'meta', {}", "'timer_model_id', {}"),
      /^routers\/new\.py:Form\.named reads model_id run timer_model_id in .*, the table says model_id run\. Read what/,
    ],
    [
      'a field of a form',
      SOURCE.replace('note: str', 'fallback_model: str'),
      /^routers\/new\.py:Form reads fallback_model model in/,
    ],
    ['a place that is gone', SOURCE.replace("'TASK_MODEL'", "'PORT'"), /^routers\/new\.py:\* reads no model in/],
  ])('is reported: %s', async (_name, source, sentence) => {
    expect(differences(await findIn(source), RELEASES[0], places)).toEqual([expect.stringMatching(sentence)]);
  });
});

/**
 * Image and speech models have a name space of their own. `any` means any: the answer never tells which ids other
 * organizations were granted. What routes beside the one model is judged as everywhere.
 */
import { type Attack, type Use, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const DOORS = [
  ['/api/v1/images/generations', 'open-webui'],
  ['/api/v1/images/edit', 'open-webui'],
  ['/api/v1/audio/speech', 'open-webui'],
  ['/openai/audio/speech', 'openai'],
] as const;

const refused = (model: unknown, status = 403): readonly Attack[] =>
  DOORS.map(([target, dialect]) => ({
    name: `${JSON.stringify(model)} at ${target}`,
    target,
    dialect,
    status,
    body: { model, prompt: 'x', input: 'x' },
  }));
const used = (model: string): readonly Use[] =>
  DOORS.map(([target]) => ({
    name: `${model} at ${target}`,
    target,
    body: { model, prompt: 'x', input: 'x' },
    runs: [model],
  }));

function prepare({ database }: TestGate): void {
  database.addModel({ id: 'only-a-row', base: 'F' });
  database.grant('globex', 'globex/*');
}

const hidden: readonly Attack[] = DOORS.map(([target, dialect]) => ({
  name: `a fallback beside a media model at ${target}`,
  target,
  dialect,
  body: { model: 'dall-e-3', models: ['F'] },
}));

describeAttacks('media models, any', {
  prepare,
  attacks: [
    ...refused('imagen:predict?key=x'),
    ...refused('../../models/F'),
    ...refused('x%2f..%2fF'),
    ...refused(['F'], 400),
    ...refused(5, 400),
    ...hidden,
    ...DOORS.map(([target, dialect]): Attack => ({
      name: `a pending user at ${target}`,
      user: 'pen',
      target,
      dialect,
      body: { model: 'dall-e-3' },
    })),
  ],
  uses: [
    ...used('F'),
    ...used('only-a-row'),
    ...used('globex/anything'),

    ...used('dall-e-3'),
    ...used('A'),
    ...DOORS.map(([target]): Use => ({
      name: `no model at ${target}`,
      target,
      body: { prompt: 'x', input: 'x' },
      runs: [],
    })),
  ],
});

describeAttacks('media models, a list', {
  settings: { MODELGATE_MEDIA_MODELS: 'gpt-image-1,tts-1' },
  prepare,
  attacks: [...refused('dall-e-3'), ...refused('F')],
  uses: [...used('gpt-image-1'), ...used('tts-1'), ...used('A')],
});

/** Ways that no gate in front can see: code of the backend itself names the model, after the request was judged. */
import { type Attack, type Attempt, BOTH, FORBIDDEN } from './attack.ts';
import { call, listModelIds } from './backend-client.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';

const FILTER = `
class Filter:
    def inlet(self, body, __user__=None):
        body["model"] = "${FORBIDDEN}"
        return body
`;

/** Runs a completion as the user whose row it is given, as pipes in public collections do. */
const PIPE = `
import inspect
from open_webui.models.users import Users
from open_webui.utils.chat import generate_chat_completion

class Pipe:
    async def pipe(self, body, __user__=None, __request__=None):
        user = Users.get_user_by_id(__user__["id"])
        if inspect.isawaitable(user):
            user = await user
        form = {"model": "${FORBIDDEN}", "messages": body["messages"], "stream": False}
        return await generate_chat_completion(__request__, form, user)
`;

/** An admin installs a function; it is taken away again. */
async function withFunction(a: Attempt, id: string, content: string, isGlobal: boolean, run: () => Promise<unknown>) {
  const function_ = { id, name: id, content, meta: { description: 'x', manifest: {} } };
  await call(a.ada, 'POST', '/api/v1/functions/create', function_);
  await call(a.ada, 'POST', `/api/v1/functions/id/${id}/toggle`);
  if (isGlobal) await call(a.ada, 'POST', `/api/v1/functions/id/${id}/toggle/global`);
  try {
    await listModelIds(a.ada);
    await run();
  } finally {
    await call(a.ada, 'DELETE', `/api/v1/functions/id/${id}/delete`);
    await listModelIds(a.ada);
  }
}

export const INSIDE_ATTACKS: readonly Attack[] = [
  {
    name: 'a filter of the backend that changes the model',
    worksWithout: BOTH,
    run: (a) => withFunction(a, 'changes_the_model', FILTER, true, () => a.post(CHAT, question('alpha'))),
  },
  {
    name: 'a pipe of the backend that runs a model of its own choice',
    worksWithout: BOTH,
    run: (a) => withFunction(a, 'runs_another', PIPE, false, () => a.post(CHAT, question('runs_another'))),
  },
  {
    name: 'fifty picks of the arena',
    worksWithout: [],
    run: async (a) => {
      for (let pick = 0; pick < 50; pick += 1) await a.post(CHAT, question('arena-model'));
    },
  },
];

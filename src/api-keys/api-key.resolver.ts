import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { anyRole, Audited } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import {
  ApiKey,
  CreateApiKeyInput,
  CreateApiKeyPayload,
  RevokeApiKeyInput,
  RevokeApiKeyPayload,
  Viewer,
} from './api-key.type.js';
import { createApiKey, revokeApiKey } from './change-api-keys.js';

@Resolver()
export class ApiKeyResolver {
  @Query(() => Viewer, { description: 'Whose key this call was made with.' })
  @Audited('READ', anyRole)
  viewer(@Ctx() context: RequestContext): Viewer {
    return context.calls.principal as Viewer;
  }

  @Query(() => [ApiKey], { description: 'Every key, oldest first, revoked ones included.' })
  @Audited('READ', [Role.AUDITOR, Role.ADMIN])
  apiKeys(@Ctx() context: RequestContext): Promise<ApiKey[]> {
    return context.services.apiKeys.list();
  }

  @Mutation(() => CreateApiKeyPayload, { description: 'Makes a key; its secret is in the answer and nowhere else.' })
  @Audited('CREATE', [Role.ADMIN])
  createApiKey(
    @Arg('input', () => CreateApiKeyInput) input: CreateApiKeyInput,
    @Ctx() context: RequestContext,
  ): Promise<CreateApiKeyPayload> {
    return createApiKey(context, input);
  }

  @Mutation(() => RevokeApiKeyPayload, {
    description: 'Revokes a key at once on this node, within a second on others; its open subscriptions are closed.',
  })
  @Audited('DELETE', [Role.ADMIN])
  async revokeApiKey(
    @Arg('input', () => RevokeApiKeyInput) input: RevokeApiKeyInput,
    @Ctx() context: RequestContext,
  ): Promise<RevokeApiKeyPayload> {
    return { apiKey: await revokeApiKey(context, input.id) };
  }
}

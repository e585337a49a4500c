import { Ctx, Query, Resolver } from 'type-graphql';
import { Audited, auditReaders } from '../access/audited.js';
import type { RequestContext } from '../access/request-context.js';
import { RedactionRules } from './redaction.type.js';

@Resolver()
export class RedactionResolver {
  @Query(() => RedactionRules, { description: 'By which rules secrets are kept out of what is recorded.' })
  @Audited('READ', auditReaders)
  redactionRules(@Ctx() context: RequestContext): RedactionRules {
    const { hash, described } = context.services.redactor.rules;
    return { hash, rules: [...described] };
  }
}

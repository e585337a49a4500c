import { Kind, type FragmentDefinitionNode, type GraphQLResolveInfo, type SelectionSetNode } from 'graphql';

/**
 * Names of the fields that a connection's caller selects on its nodes, through `nodes`, `edges.node` and fragments.
 * Reading only their columns is what makes narrow lists cheap. Directives are ignored: a skipped field is read in vain.
 */
export function selectedNodeFields(info: GraphQLResolveInfo): ReadonlySet<string> {
  const names = new Set<string>();
  for (const field of info.fieldNodes) {
    visit(field.selectionSet, info.fragments, (name, selections) => {
      if (name === 'nodes') collect(selections, info.fragments, names);
      if (name === 'edges') {
        visit(selections, info.fragments, (inner, node) => {
          if (inner === 'node') collect(node, info.fragments, names);
        });
      }
    });
  }
  return names;
}

type Fragments = Readonly<Record<string, FragmentDefinitionNode>>;

function collect(selections: SelectionSetNode | undefined, fragments: Fragments, names: Set<string>): void {
  visit(selections, fragments, (name) => names.add(name));
}

function visit(
  selections: SelectionSetNode | undefined,
  fragments: Fragments,
  onField: (name: string, selections: SelectionSetNode | undefined) => void,
): void {
  for (const selection of selections?.selections ?? []) {
    if (selection.kind === Kind.FIELD) onField(selection.name.value, selection.selectionSet);
    else if (selection.kind === Kind.INLINE_FRAGMENT) visit(selection.selectionSet, fragments, onField);
    else visit(fragments[selection.name.value]?.selectionSet, fragments, onField);
  }
}

"""Small things about syntax trees."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.typed import paren


def unparen(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Paren, exp.Subquery)) and not (
        isinstance(node, exp.Subquery) and node.args.get("alias")
    ):
        node = node.this
    return node


def plain_numbers(tree: exp.Expr) -> None:
    """Have ORDER BY and GROUP BY say `2` where they say `+2` or `(2)`: to SQLite that is the second column as well."""
    for clause in tree.find_all(exp.Order, exp.Group):
        for term in clause.expressions:
            whole = inner = term.this if isinstance(term, exp.Ordered) else term
            while isinstance(inner, exp.Paren) or (isinstance(inner, exp.Anonymous) and str(inner.this) == "fn_plus"):
                inner = inner.this if isinstance(inner, exp.Paren) else inner.expressions[0]
            if inner is not whole and isinstance(inner, exp.Literal) and inner.is_int:
                whole.replace(inner)


def with_of(table: exp.Table) -> exp.CTE | None:
    """What a name in FROM means if a WITH around it says so."""
    around: exp.Expr | None = table.parent if not table.db else None
    while around is not None:
        clause = around.args.get("with_")
        for each in clause.expressions if clause is not None else ():
            if isinstance(each, exp.CTE) and each.alias.lower() == table.name.lower():
                return each
        around = around.parent
    return None


def means_with(table: exp.Table, name: str) -> bool:
    """Whether a table in FROM may be what WITH gives that name: with the name of a database before it, it is not."""
    return not table.db and table.name.lower() == name.lower()


def plain_settings(tree: exp.Expr) -> None:
    """Have SET say `a = 1` where it says `(a) = (1)`."""
    places = [tree] if isinstance(tree, exp.Update) else clauses_of(tree) if isinstance(tree, exp.Insert) else []
    for place in places:
        for setting in place.expressions:
            if isinstance(setting.this, exp.Paren):
                setting.set("this", setting.this.this)


def flatten(node: exp.Expr) -> list[exp.Expr]:
    """The operands of a chain of one operator, without recursion."""
    operands: list[exp.Expr] = []
    while type(node.this) is type(node):
        operands.append(node.expression)
        node = node.this
    return [node.this, node.expression, *reversed(operands)]


def negated(node: exp.Expr, test: exp.Expr) -> exp.Expr:
    """sqlglot keeps NOT LIKE and its like as a flag of the node, or as a NOT around it, which is not ours to see."""
    return exp.Not(this=paren(test)) if node.args.get("negate") else test


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """What all has to be true for the condition to be true."""
    node = unparen(node)
    if not isinstance(node, exp.And):
        return [node]
    return [inner for part in flatten(node) for inner in conjuncts(part)]


def disjuncts(node: exp.Expr) -> list[exp.Expr]:
    """What one of has to be true for the condition to be true."""
    node = unparen(node)
    if not isinstance(node, exp.Or):
        return [node]
    return [inner for part in flatten(node) for inner in disjuncts(part)]


def leftmost(node: exp.Expr) -> exp.Expr:
    """The first arm of a compound."""
    while _is_compound(node):
        node = node.this
    return node


def operations(node: exp.Expr) -> list[exp.SetOperation]:
    """The operations of a compound, from left to right."""
    found: list[exp.SetOperation] = []
    while _is_compound(node):
        if isinstance(node, exp.SetOperation):
            found.append(node)
        node = node.this
    return found[::-1]


def _is_compound(node: exp.Expr) -> bool:
    """SQLite has no parentheses around arms; those that there are were added to say that it reads from the left."""
    return isinstance(node, exp.SetOperation) or (
        isinstance(node, exp.Subquery) and isinstance(node.this, (exp.SetOperation, exp.Subquery))
    )


def keeps_all(operation: exp.SetOperation) -> bool:
    """Whether it is UNION ALL."""
    return isinstance(operation, exp.Union) and not operation.args.get("distinct", True)


def clauses_of(node: exp.Insert) -> list[exp.OnConflict]:
    """All ON CONFLICT clauses of an INSERT; the parser knows of the first alone."""
    first = node.args.get("conflict")
    return [*([first] if first is not None else []), *(node.args.get("clauses") or [])]


def calls_alike(node: exp.Expr) -> bool:
    """Whether two things in FROM are called alike, perhaps in queries of which one is within the other."""
    names = [one.alias_or_name.lower() for one in node.find_all(exp.Table, exp.Subquery) if one.alias_or_name]
    return len(names) > len(set(names))

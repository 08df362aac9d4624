"""``memoryd completion``."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_MEMORYD_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands and options.

    \b
    bash: echo 'eval "$(memoryd completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(memoryd completion zsh)"' >> ~/.zshrc
    fish: memoryd completion fish > ~/.config/fish/completions/memoryd.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no {shell}")
    click.echo(kind(ctx.find_root().command, {}, "memoryd", _VARIABLE).source())

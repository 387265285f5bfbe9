"""The flag --install-completion, which imports every verb to list its flags."""

from cyclopts.completion.install import create_install_completion_command

from lowres.cli.app import app

install = create_install_completion_command(app.install_completion, add_to_startup=True)

"""The Model Context Protocol: the service's tools, resources and prompt, over streamable HTTP and stdio.

======================  =============================================================================
module                  noun
======================  =============================================================================
``arguments``           what each tool takes
``catalogue``           the tools: names, descriptions, annotations, the action each needs
``calls``               what each tool does, by the same use cases as REST
``expansion``           more of what was shown; ``names`` are what results call it
``sessions``            what the tool ``session`` does
``shown``               results within a token budget, fenced as data
``library``             resources and the prompt
``local``               all of it for one process's services
``remote``              all of it at a server elsewhere: what stdio serves
``server``              the SDK's server over either
``endpoint``, ``stdio`` the two transports
``installation``        the embedded memoryd that stdio finds, or starts
======================  =============================================================================
"""

"""Applications that the suite does not carry: installed when asked for, each where nothing else is."""

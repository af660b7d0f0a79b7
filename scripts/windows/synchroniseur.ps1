# Sending of tickets, customers, events: caisseauto sync. Arguments are those of the program:
#   powershell -NoProfile -File synchroniseur.ps1 --config C:\ProgramData\caisseauto\till.toml
# They are taken as they stand, so that there is no param() here.
. (Join-Path $PSScriptRoot 'caisseauto.ps1')
exit (Invoke-Caisseauto 'synchroniseur' 'sync' (Join-Path $env:ProgramData 'caisseauto\till.toml') $args)

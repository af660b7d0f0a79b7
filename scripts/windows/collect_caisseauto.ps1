# Collection of what the tills of a dossier sent: caisseauto collect. Arguments are those of the program:
#   powershell -NoProfile -File collect_caisseauto.ps1 --config C:\ProgramData\caisseauto\server.toml --dossier ACME
# They are taken as they stand, so that there is no param() here.
. (Join-Path $PSScriptRoot 'caisseauto.ps1')
exit (Invoke-Caisseauto 'collect_caisseauto' 'collect' (Join-Path $env:ProgramData 'caisseauto\server.toml') $args)
